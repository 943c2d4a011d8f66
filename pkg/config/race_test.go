//go:build race

package config_test

// The race detector makes sync.Pool forget, so that package regexp allocates much more.
func init() { measuresMemory = false }
