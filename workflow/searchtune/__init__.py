"""searchtune: from raw retrieval data to the tables and figures of INTERS, UDAPDR and LimRank."""

__version__ = "0.1.0"
