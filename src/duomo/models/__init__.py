"""One architecture, one file, under the name that `--model` takes; see docs/contract.md."""
