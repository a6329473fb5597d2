"""The data that everything else speaks in: findings, causes, precision, errors of the user."""
