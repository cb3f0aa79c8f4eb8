package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	body, err := io.ReadAll(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "reading the body:", err)
		os.Exit(1)
	}
	name := strings.TrimSpace(string(body))
	if name == "" {
		name = "world"
	}
	fmt.Printf("Hello, %s!\n", name)
}
