"""The statements that zkmarket proves, as torch modules. See README.md in this folder."""
