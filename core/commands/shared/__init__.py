"""What several commands share: arguments, output, confirmation, other machines."""
