"""What is said of the results: `answer` (first lines), `report` (tables, pages), `released`."""
