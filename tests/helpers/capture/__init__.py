"""What tests of recording share."""
