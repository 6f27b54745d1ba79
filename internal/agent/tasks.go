package agent

import (
	// Tasks register themselves.
	_ "penstock.dev/penstock/internal/agent/task/archive"
	_ "penstock.dev/penstock/internal/agent/task/build"
	_ "penstock.dev/penstock/internal/agent/task/cache"
	_ "penstock.dev/penstock/internal/agent/task/toolchain"
	_ "penstock.dev/penstock/internal/agent/task/transform"
)
