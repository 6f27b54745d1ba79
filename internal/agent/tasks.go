package agent

import (
	// Tasks register themselves.
	_ "penstock.dev/penstock/internal/agent/task/archive"
	_ "penstock.dev/penstock/internal/agent/task/azure"
	_ "penstock.dev/penstock/internal/agent/task/build"
	_ "penstock.dev/penstock/internal/agent/task/cache"
	_ "penstock.dev/penstock/internal/agent/task/feed"
	_ "penstock.dev/penstock/internal/agent/task/library"
	_ "penstock.dev/penstock/internal/agent/task/sshtask"
	_ "penstock.dev/penstock/internal/agent/task/toolchain"
	_ "penstock.dev/penstock/internal/agent/task/transform"
)
