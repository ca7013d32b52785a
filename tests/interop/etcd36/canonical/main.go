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

	"github.com/gogo/protobuf/proto"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

type message interface {
	proto.Message
	Marshal() ([]byte, error)
	Unmarshal([]byte) error
}

func messageOf(field string) message {
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

func answer(field string, raw []byte) string {
	m := messageOf(field)
	if m.Unmarshal(raw) != nil {
		return "refused"
	}
	logged, err := m.Marshal()
	if err != nil {
		return "refused"
	}
	proto.DiscardUnknown(m)
	plain, err := m.Marshal()
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
