"""Single edits of a hand-written backward, made on its syntax tree. `edits_of` lists them, `applied` runs one."""
