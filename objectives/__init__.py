"""What a trial is and what it scores: study file, search space, network, training, activity, scores, fronts."""
