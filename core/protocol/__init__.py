"""What crosses a process boundary, as frozen structs; see wire.py for how, messages/ for what is asked and answered."""
