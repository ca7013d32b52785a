// etcd's own etcdutl of 3.7, to compare ours with and to restore our snapshots.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"go.etcd.io/etcd/etcdutl/v3/etcdutl"
)

func main() {
	root := &cobra.Command{Use: "etcdutl"}
	root.PersistentFlags().StringVarP(&etcdutl.OutputFormat, "write-out", "w", "simple", "")
	root.AddCommand(etcdutl.NewSnapshotCommand(), etcdutl.NewHashKVCommand(),
		etcdutl.NewMigrateCommand(), etcdutl.NewDefragCommand())
	if root.Execute() != nil {
		os.Exit(1)
	}
}
