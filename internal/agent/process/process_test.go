package process

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"
)

// TestMain is also the programs that the tests start: `parent` starts `child`,
// ends, and leaves it alone; both hold a connection for as long as they live.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "parent" || len(os.Args) > 2 && os.Args[1] == "child" {
		hold(os.Args[1], os.Args[2])
	}
	os.Exit(m.Run())
}

func hold(role, address string) {
	if role == "parent" {
		child := exec.Command(os.Args[0], "child", address)
		OwnGroup(child) // it leaves the group of its parent
		if err := child.Start(); err != nil {
			os.Exit(9)
		}
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		os.Exit(8)
	}
	_, _ = io.WriteString(conn, role+"\n")
	_, _ = io.Copy(io.Discard, conn)
	os.Exit(7)
}

// family starts parent and child and returns a connection to each.
func family(t *testing.T, mark string) (*Tree, *exec.Cmd, map[string]net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	cmd := exec.Command(os.Args[0], "parent", l.Addr().String())
	cmd.Env = append(os.Environ(), Marker+"="+mark)
	tree, err := Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tree.Close)
	conns := map[string]net.Conn{}
	for range 2 {
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		role, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		conns[role] = conn
	}
	return tree, cmd, conns
}

// gone waits until the other side of a connection has ended.
func gone(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

func TestKillEndsTheTree(t *testing.T) {
	tree, cmd, conns := family(t, "mark-tree")
	tree.Signal(Kill)
	gone(conns["parent\n"])
	gone(conns["child\n"])
	if err := cmd.Wait(); err == nil {
		t.Error("the program says that it ended well")
	}
}

// A number that another program has got since is not killed for the one before.
func TestEndRestKillsNothingElse(t *testing.T) {
	tree, cmd, conns := family(t, "mark-one")
	stranger := &Tree{pid: tree.pid} // as if an earlier program had had the number
	stranger.EndRest("mark-of-the-earlier")
	for _, conn := range conns {
		if _, err := conn.Write([]byte("still there?")); err != nil {
			t.Error(err)
		}
	}
	tree.EndRest("mark-one")
	gone(conns["parent\n"])
	if err := cmd.Wait(); err == nil {
		t.Error("the program says that it ended well")
	}
	if n := EndMarked("mark-one"); n != 1 { // the child had left the group
		t.Errorf("%d were left", n)
	}
	gone(conns["child\n"])
	if n := EndMarked("mark-one"); n != 0 {
		t.Errorf("%d are killed twice", n)
	}
}

func TestEndMarkedFindsWhatWasLeft(t *testing.T) {
	_, cmd, conns := family(t, "mark-left")
	_, other, others := family(t, "mark-other")
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	EndMarked("mark-left")
	gone(conns["child\n"])
	// What belongs to another job goes on: it still reads what it is sent, and
	// ends when its connections do.
	for _, conn := range others {
		if _, err := conn.Write([]byte("still there?")); err != nil {
			t.Error(err)
		}
		_ = conn.Close()
	}
	if err := other.Wait(); err == nil {
		t.Error("the other program should have ended with 7")
	} else if ExitCode(other.ProcessState) != 7 {
		t.Errorf("exit code %d", ExitCode(other.ProcessState))
	}
}
