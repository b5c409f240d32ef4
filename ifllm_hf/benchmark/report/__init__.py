"""What is said of the results: `answer` (the first lines), `report` (terminal table, JSON, Markdown) and its `figures`."""
