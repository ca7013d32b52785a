// walread reads a write-ahead log with etcd's own code and prints what it holds, one line each:
//
//	metadata HEX
//	state TERM VOTE COMMIT
//	snapshot INDEX TERM        (each valid one)
//	entry INDEX TERM TYPE HEX-OF-DATA
//
// With "append" it first opens the log for writing, as a starting etcd does, and saves one entry.
package main

import (
	"fmt"
	"os"
	"strconv"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
)

func check(what string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		os.Exit(1)
	}
}

func number(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	check("number", err)
	return n
}

func appendOne(logger *zap.Logger, dir string, start walpb.Snapshot) {
	w, err := wal.Open(logger, dir, start)
	check("Open", err)
	_, state, entries, err := w.ReadAll()
	check("ReadAll for writing", err)
	last := entries[len(entries)-1]
	entry := raftpb.Entry{Term: last.Term, Index: last.Index + 1, Data: []byte("by etcd")}
	check("Save", w.Save(state, []raftpb.Entry{entry}))
	check("Close", w.Close())
}

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: walread read|append DIR INDEX TERM")
		os.Exit(2)
	}
	logger := zap.NewNop()
	dir := os.Args[2]
	start := walpb.Snapshot{Index: number(os.Args[3]), Term: number(os.Args[4])}
	if os.Args[1] == "append" {
		appendOne(logger, dir, start)
	}
	snapshots, err := wal.ValidSnapshotEntries(logger, dir)
	check("ValidSnapshotEntries", err)
	_, err = wal.Verify(logger, dir, start)
	check("Verify", err)
	w, err := wal.OpenForRead(logger, dir, start)
	check("OpenForRead", err)
	metadata, state, entries, err := w.ReadAll()
	check("ReadAll", err)
	fmt.Printf("metadata %x\n", metadata)
	fmt.Printf("state %d %d %d\n", state.Term, state.Vote, state.Commit)
	for _, s := range snapshots {
		fmt.Printf("snapshot %d %d\n", s.Index, s.Term)
	}
	for _, e := range entries {
		fmt.Printf("entry %d %d %d %x\n", e.Index, e.Term, e.Type, e.Data)
	}
}
