"""The models. Each is a file of small kernels over a row's columns; `docs/twin-state.md` shows how one is added."""
