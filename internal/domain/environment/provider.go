package environment

import "context"

// Machine is what a provider knows a VM by.
type Machine struct {
	ID   string // of the VM resource; never used again
	Name string
}

// Provider makes and runs machines: local sandboxes, and later QEMU, SSH or a
// cloud. Every machine it starts brings up an agent that registers for the VM.
type Provider interface {
	// Start boots a machine, making it if there is none, and returns its
	// address. It does not wait for the agent. A running machine is left alone.
	Start(ctx context.Context, m Machine) (address string, err error)
	// Stop shuts a machine down and returns when it is off.
	Stop(ctx context.Context, m Machine)
	// Kill is the power switch.
	Kill(m Machine)
	// Delete removes a machine with its disk; one that is not there is no error.
	Delete(m Machine) error
	// Running reports whether the machine is on.
	Running(m Machine) bool
}
