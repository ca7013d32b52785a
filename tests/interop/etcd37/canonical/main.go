// canonical reads requests, one a line: a field of InternalRaftRequest and the request's bytes in
// hex. For each it prints what etcd writes into its log, where unknown fields stay, and the same
// without them; or "refused".
package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func messageOf(field string) proto.Message {
	switch field {
	case "4":
		return &pb.PutRequest{}
	case "5":
		return &pb.DeleteRangeRequest{}
	case "6":
		return &pb.TxnRequest{}
	case "7":
		return &pb.CompactionRequest{}
	}
	panic(field)
}

func discard(m protoreflect.Message) {
	m.SetUnknown(nil)
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if fd.Message() == nil {
			return true
		}
		if fd.IsList() {
			for i := 0; i < v.List().Len(); i++ {
				discard(v.List().Get(i).Message())
			}
		} else {
			discard(v.Message())
		}
		return true
	})
}

func answer(field string, raw []byte) string {
	m := messageOf(field)
	if proto.Unmarshal(raw, m) != nil {
		return "refused"
	}
	logged, err := proto.Marshal(m)
	if err != nil {
		return "refused"
	}
	discard(m.ProtoReflect())
	plain, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return hex.EncodeToString(logged) + " " + hex.EncodeToString(plain)
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<24)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for in.Scan() {
		field, text, _ := strings.Cut(in.Text(), " ")
		raw, err := hex.DecodeString(text)
		if err != nil {
			panic(err)
		}
		fmt.Fprintln(out, answer(field, raw))
	}
}
