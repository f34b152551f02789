-- set_near_search: for one transaction: an index scan goes on until enough rows have passed the filter, and a plan is
-- made for the very place that is searched, because a small one is better compared in full.
SELECT set_config('hnsw.iterative_scan', 'strict_order', true), set_config('plan_cache_mode', 'force_custom_plan', true)
