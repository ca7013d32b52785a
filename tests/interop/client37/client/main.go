// Command client calls a cluster through etcd's own client library, part by part. Each part says
// "ok NAME" or why not; members may be killed meanwhile by whoever runs it.
//
//	client ENDPOINT,ENDPOINT,… PART [CLIENTS] [SECONDS]
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// A failure ends the part that it happens in.
type failure struct{ text string }

func fail(format string, args ...any) {
	panic(failure{fmt.Sprintf(format, args...)})
}

func must(err error, what string) {
	if err != nil {
		fail("%s: %v", what, err)
	}
}

func expect(got, want any, what string) {
	if fmt.Sprint(got) != fmt.Sprint(want) {
		fail("%s: %v instead of %v", what, got, want)
	}
}

type setting struct {
	endpoints []string
	clients   int
	seconds   int
}

func (s *setting) dial() *clientv3.Client {
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            s.endpoints,
		DialTimeout:          5 * time.Second,
		DialKeepAliveTime:    2 * time.Second,
		DialKeepAliveTimeout: 2 * time.Second,
		Logger:               zap.NewNop(),
	})
	must(err, "client")
	return client
}

func soon() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 20*time.Second)
}

var parts = map[string]func(*setting){
	"kv":          kv,
	"watch":       watch,
	"lease":       lease,
	"maintenance": maintenance,
	"cluster":     cluster,
	"session":     session,
	"stm":         stm,
	"locks":       locks,
	"elections":   elections,
	"keepalive":   keepalive,
}

func run(name string, s *setting) (ok bool) {
	defer func() {
		if r := recover(); r != nil {
			f, mine := r.(failure)
			if !mine {
				panic(r)
			}
			fmt.Printf("failed %s: %s\n", name, f.text)
			ok = false
		}
	}()
	parts[name](s)
	fmt.Println("ok", name)
	return true
}

func main() {
	s := &setting{endpoints: strings.Split(os.Args[1], ","), clients: 60, seconds: 10}
	if len(os.Args) > 3 {
		s.clients, _ = strconv.Atoi(os.Args[3])
	}
	if len(os.Args) > 4 {
		s.seconds, _ = strconv.Atoi(os.Args[4])
	}
	good := true
	for _, name := range strings.Split(os.Args[2], ",") {
		good = run(name, s) && good
	}
	if !good {
		os.Exit(1)
	}
}
