package e2e

import (
	"os/exec"
	"syscall"
)

// dieWithUs: a test run that is killed leaves no server behind.
func dieWithUs(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
