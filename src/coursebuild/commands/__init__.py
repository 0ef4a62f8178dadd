"""The subcommands of `course`, one module each; each has a `register(subparsers)`."""
