"""Hold the data of `finetop demo`: questions to an invented workshop's support desk, with answers in its voice."""
