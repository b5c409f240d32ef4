"""What tests of the audit make: streams of readers with a known gain, and pages of them."""
