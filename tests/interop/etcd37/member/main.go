// etcd as its own module builds it, of the version in go.mod: a member to stand beside ours, with
// all of its flags.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
