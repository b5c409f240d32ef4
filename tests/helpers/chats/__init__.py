"""Made-up exports of chat pages."""
