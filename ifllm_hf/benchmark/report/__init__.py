"""What is said of the results: `report` (terminal table, JSON, Markdown) and its `figures`."""
