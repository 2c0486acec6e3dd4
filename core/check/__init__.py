"""Did the model forget? The statistics, the scorer and the tasks behind one verdict."""
