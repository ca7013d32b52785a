// etcd's own etcdctl of 3.7, to compare ours with.
package main

import "go.etcd.io/etcd/etcdctl/v3/ctlv3"

func main() {
	ctlv3.MustStart()
}
