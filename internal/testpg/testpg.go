// Package testpg owns the real PostgreSQL of the tests: one private server for each test process, with a fresh database
// for each test. Enter with URL. It refuses to pass silently: without PostgreSQL's programs a test is skipped loudly, and
// fails when CI is set.
package testpg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is a running private server.
type Server struct {
	Dir  string // data and socket directory, owned by the server's user
	Port int    // on the loopback address and in the socket's name
	PID  int    // of the postmaster, to signal or to measure
	Bin  string // directory of pg_dump, psql …

	stdin io.Closer // closing it, or the end of this process, ends the server and removes Dir
	dbs   atomic.Int64
}

var (
	once   sync.Once
	shared *Server
	failed error
)

var errNone = errors.New("no PostgreSQL programs found (Debian: apt-get install postgresql-15)")

// Shared returns this process's server, starting it at the first call.
func Shared(tb testing.TB) *Server {
	tb.Helper()
	once.Do(func() { shared, failed = start() })
	switch {
	case errors.Is(failed, errNone) && os.Getenv("CI") == "":
		tb.Skipf("SKIPPED, NOT TESTED ON POSTGRES: %v", failed)
	case failed != nil:
		tb.Fatalf("testpg: %v", failed)
	}
	return shared
}

// URL makes a fresh database and returns its address on the server's socket. The database goes with the test.
func URL(tb testing.TB) string {
	tb.Helper()
	s := Shared(tb)
	name := fmt.Sprintf("t%d", s.dbs.Add(1))
	s.run(tb, "CREATE DATABASE "+name)
	tb.Cleanup(func() { s.run(tb, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)") })
	return s.Address(name)
}

// Address is the URL of a database on the server's socket, as the superuser of the tests.
func (s *Server) Address(database string) string {
	return fmt.Sprintf("postgres://kapi@/%s?host=%s&port=%d", database, url.QueryEscape(s.Dir), s.Port)
}

// AddressTCP is the URL of a database on the loopback address.
func (s *Server) AddressTCP(database string) string {
	return fmt.Sprintf("postgres://kapi@127.0.0.1:%d/%s?sslmode=disable", s.Port, database)
}

// Tidy does what autovacuum, which is off here, would have done to a database by and by.
func Tidy(tb testing.TB, address string) {
	tb.Helper()
	run(tb, address, 10*time.Minute, "VACUUM (ANALYZE)")
}

func (s *Server) run(tb testing.TB, sql string) {
	tb.Helper()
	run(tb, s.Address("postgres"), time.Minute, sql)
}

func run(tb testing.TB, address string, most time.Duration, sql string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	c, err := pgx.Connect(ctx, address)
	if err == nil {
		defer c.Close(ctx)
		_, err = c.Exec(ctx, sql)
	}
	if err != nil {
		tb.Fatalf("testpg: %s: %v", sql, err)
	}
}

func start() (*Server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "kapi-pg-")
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: dir, Bin: bin}
	if err := s.boot(); err != nil {
		if s.stdin != nil {
			s.stdin.Close()
		}
		os.RemoveAll(dir)
		return nil, err
	}
	return s, nil
}

func (s *Server) boot() error {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 { // PostgreSQL refuses to run as root
		u, err := user.Lookup("postgres")
		if err != nil {
			return err
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(s.Dir, uid, gid); err != nil {
			return err
		}
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.Port = l.Addr().(*net.TCPAddr).Port
	l.Close()

	data := filepath.Join(s.Dir, "data")
	initdb := exec.Command(filepath.Join(s.Bin, "initdb"), "-D", data, "-U", "kapi", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
	initdb.SysProcAttr, initdb.Dir = attr, s.Dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	// The shell waits for its input to close, which the kernel does however this process ends, and then cleans up.
	const watch = `dir=$1; shift; "$@" >"$dir/log" 2>&1 & p=$!; echo $p; read -r _; kill -QUIT $p; wait $p; rm -rf "$dir"`
	sh := exec.Command("/bin/sh", "-c", watch, "testpg", s.Dir, filepath.Join(s.Bin, "postgres"), "-D", data,
		"-h", "127.0.0.1", "-p", strconv.Itoa(s.Port), "-k", s.Dir, "-c", "fsync=off", "-c", "synchronous_commit=off",
		"-c", "full_page_writes=off", "-c", "max_connections=200", "-c", "shared_buffers=64MB", "-c", "autovacuum=off")
	sh.SysProcAttr, sh.Dir = attr, s.Dir
	if s.stdin, err = sh.StdinPipe(); err != nil {
		return err
	}
	out, err := sh.StdoutPipe()
	if err != nil {
		return err
	}
	if err := sh.Start(); err != nil {
		return err
	}
	var line [32]byte
	n, err := out.Read(line[:])
	if err != nil {
		return err
	}
	if s.PID, err = strconv.Atoi(string(bytes.TrimSpace(line[:n]))); err != nil {
		return err
	}
	go sh.Wait()
	return s.wait()
}

// wait polls until the server answers.
func (s *Server) wait() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := pgx.Connect(ctx, s.Address("postgres"))
		if err == nil {
			return c.Close(ctx)
		}
		select {
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(s.Dir, "log"))
			return fmt.Errorf("the server does not answer: %w\n%s", err, log)
		case <-tick.C:
		}
	}
}

// programs finds the newest PostgreSQL, in Debian's place or on the path.
func programs() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	slices.SortFunc(found, func(a, b string) int { return version(b) - version(a) })
	if len(found) > 0 {
		return filepath.Dir(found[0]), nil
	}
	if p, err := exec.LookPath("initdb"); err == nil {
		if p, err = filepath.EvalSymlinks(p); err == nil {
			return filepath.Dir(p), nil
		}
	}
	return "", errNone
}

func version(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return n
}
