"""The version of the house, in one place."""

VERSION = "0.1.0"
