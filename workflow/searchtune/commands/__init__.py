"""Commands of ``searchtune``: one file each."""
