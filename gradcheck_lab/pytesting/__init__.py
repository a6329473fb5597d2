"""What the pytest plugin is made of; nothing here imports torch before a gradient is checked."""
