"""One task, one folder, under the name that `--task` takes; see docs/contract.md. A task knows no model."""
