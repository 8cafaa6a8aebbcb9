//go:build race

package term

// raced says that the tests run under the race detector, where time costs about ten times as much.
const raced = true
