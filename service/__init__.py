"""Study server, worker and command line: the parts that join objectives and storage."""
