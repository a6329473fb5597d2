"""What a module holds that can be checked, and what describes its inputs."""
