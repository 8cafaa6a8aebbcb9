//go:build !race

package term

const raced = false
