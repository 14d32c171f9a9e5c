"""What config.json says, checked: loading, the generated schema check, the rules, the grammar tables, the default."""
