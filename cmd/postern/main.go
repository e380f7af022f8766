// Command postern is a mail gateway for applications. See the README.
package main

import (
	"os"

	"postern/internal/cli"
)

func main() {
	os.Exit(cli.Main(cli.Arguments(os.Args), os.Stdout, os.Stderr))
}
