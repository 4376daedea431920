"""What a trial came to, as SQL reads it."""

from __future__ import annotations

COLUMNS = """
t.state::text AS state, l.seed, r.weights_sha256, r.details, r.on_baseline_accelerator, r.test, r.test_error,
(SELECT json_object_agg(p.param_name, p.param_value) FROM public.trial_params p
 WHERE p.trial_id = t.trial_id) AS params,
(SELECT json_agg(v.value ORDER BY v.objective) FROM public.trial_values v WHERE v.trial_id = t.trial_id) AS "values",
(SELECT json_agg(json_build_array(e.epoch, e.loss, e.accuracy) ORDER BY e.epoch) FROM spikefront.epoch e
 WHERE e.trial_id = t.trial_id) AS curve
"""
"""Everything about a trial that is to be the same in two runs: no time, no worker."""

TABLES = """
public.trials t JOIN spikefront.study s USING (study_id) JOIN spikefront.lease l USING (trial_id)
LEFT JOIN spikefront.result r USING (trial_id)
"""
