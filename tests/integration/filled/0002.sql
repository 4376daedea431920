CREATE SCHEMA spikefront;
CREATE TYPE public.studydirection AS ENUM (
    'NOT_SET',
    'MINIMIZE',
    'MAXIMIZE'
);
CREATE TYPE public.trialintermediatevaluetype AS ENUM (
    'FINITE',
    'INF_POS',
    'INF_NEG',
    'NAN'
);
CREATE TYPE public.trialstate AS ENUM (
    'RUNNING',
    'COMPLETE',
    'PRUNED',
    'FAIL',
    'WAITING'
);
CREATE TYPE public.trialvaluetype AS ENUM (
    'FINITE',
    'INF_POS',
    'INF_NEG'
);
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.studies (
    study_id integer NOT NULL,
    study_name character varying(512) NOT NULL
);
CREATE SEQUENCE public.studies_study_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.studies_study_id_seq OWNED BY public.studies.study_id;
CREATE TABLE public.study_directions (
    study_direction_id integer NOT NULL,
    direction public.studydirection NOT NULL,
    study_id integer NOT NULL,
    objective integer NOT NULL
);
CREATE SEQUENCE public.study_directions_study_direction_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.study_directions_study_direction_id_seq OWNED BY public.study_directions.study_direction_id;
CREATE TABLE public.study_system_attributes (
    study_system_attribute_id integer NOT NULL,
    study_id integer,
    key character varying(512),
    value_json text
);
CREATE SEQUENCE public.study_system_attributes_study_system_attribute_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.study_system_attributes_study_system_attribute_id_seq OWNED BY public.study_system_attributes.study_system_attribute_id;
CREATE TABLE public.study_user_attributes (
    study_user_attribute_id integer NOT NULL,
    study_id integer,
    key character varying(512),
    value_json text
);
CREATE SEQUENCE public.study_user_attributes_study_user_attribute_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.study_user_attributes_study_user_attribute_id_seq OWNED BY public.study_user_attributes.study_user_attribute_id;
CREATE TABLE public.trial_heartbeats (
    trial_heartbeat_id integer NOT NULL,
    trial_id integer NOT NULL,
    heartbeat timestamp without time zone NOT NULL
);
CREATE SEQUENCE public.trial_heartbeats_trial_heartbeat_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trial_heartbeats_trial_heartbeat_id_seq OWNED BY public.trial_heartbeats.trial_heartbeat_id;
CREATE TABLE public.trial_intermediate_values (
    trial_intermediate_value_id integer NOT NULL,
    trial_id integer NOT NULL,
    step integer NOT NULL,
    intermediate_value double precision,
    intermediate_value_type public.trialintermediatevaluetype NOT NULL
);
CREATE SEQUENCE public.trial_intermediate_values_trial_intermediate_value_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trial_intermediate_values_trial_intermediate_value_id_seq OWNED BY public.trial_intermediate_values.trial_intermediate_value_id;
CREATE TABLE public.trial_params (
    param_id integer NOT NULL,
    trial_id integer,
    param_name character varying(512),
    param_value double precision,
    distribution_json text
);
CREATE SEQUENCE public.trial_params_param_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trial_params_param_id_seq OWNED BY public.trial_params.param_id;
CREATE TABLE public.trial_system_attributes (
    trial_system_attribute_id integer NOT NULL,
    trial_id integer,
    key character varying(512),
    value_json text
);
CREATE SEQUENCE public.trial_system_attributes_trial_system_attribute_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trial_system_attributes_trial_system_attribute_id_seq OWNED BY public.trial_system_attributes.trial_system_attribute_id;
CREATE TABLE public.trial_user_attributes (
    trial_user_attribute_id integer NOT NULL,
    trial_id integer,
    key character varying(512),
    value_json text
);
CREATE SEQUENCE public.trial_user_attributes_trial_user_attribute_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trial_user_attributes_trial_user_attribute_id_seq OWNED BY public.trial_user_attributes.trial_user_attribute_id;
CREATE TABLE public.trial_values (
    trial_value_id integer NOT NULL,
    trial_id integer NOT NULL,
    objective integer NOT NULL,
    value double precision,
    value_type public.trialvaluetype NOT NULL
);
CREATE SEQUENCE public.trial_values_trial_value_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trial_values_trial_value_id_seq OWNED BY public.trial_values.trial_value_id;
CREATE TABLE public.trials (
    trial_id integer NOT NULL,
    number integer,
    study_id integer,
    state public.trialstate NOT NULL,
    datetime_start timestamp without time zone,
    datetime_complete timestamp without time zone
);
CREATE SEQUENCE public.trials_trial_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trials_trial_id_seq OWNED BY public.trials.trial_id;
CREATE TABLE public.version_info (
    version_info_id integer NOT NULL,
    schema_version integer,
    library_version character varying(256),
    CONSTRAINT version_info_version_info_id_check CHECK ((version_info_id = 1))
);
CREATE TABLE spikefront.checkpoint (
    checkpoint_id bigint NOT NULL,
    trial_id integer,
    fence bigint NOT NULL,
    epoch integer NOT NULL,
    sha256 text NOT NULL,
    bytes bigint NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
CREATE SEQUENCE spikefront.checkpoint_checkpoint_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE spikefront.checkpoint_checkpoint_id_seq OWNED BY spikefront.checkpoint.checkpoint_id;
CREATE TABLE spikefront.epoch (
    trial_id integer NOT NULL,
    epoch integer NOT NULL,
    loss double precision NOT NULL,
    accuracy double precision NOT NULL,
    seconds double precision NOT NULL
);
CREATE TABLE spikefront.event (
    event_id bigint NOT NULL,
    study_id integer NOT NULL,
    number integer,
    kind text NOT NULL,
    message text NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
CREATE SEQUENCE spikefront.event_event_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE spikefront.event_event_id_seq OWNED BY spikefront.event.event_id;
CREATE TABLE spikefront.lease (
    trial_id integer NOT NULL,
    study_id integer NOT NULL,
    task text NOT NULL,
    worker text NOT NULL,
    fence bigint NOT NULL,
    seed bigint NOT NULL,
    epochs integer NOT NULL,
    epoch integer DEFAULT 0 NOT NULL,
    accuracy double precision,
    leased_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    CONSTRAINT lease_fence CHECK ((fence > 0)),
    CONSTRAINT lease_task CHECK ((task = ANY (ARRAY['train'::text, 'test'::text])))
);
CREATE TABLE spikefront.result (
    trial_id integer NOT NULL,
    details jsonb NOT NULL,
    on_baseline_accelerator jsonb,
    weights_sha256 text NOT NULL,
    weights_fence bigint NOT NULL,
    test jsonb,
    test_error text,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
CREATE TABLE spikefront.rung (
    trial_id integer NOT NULL,
    rung integer NOT NULL,
    epoch integer NOT NULL,
    fence bigint NOT NULL,
    "values" jsonb NOT NULL,
    decision text NOT NULL,
    reason text DEFAULT ''::text NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
CREATE TABLE spikefront.spikefront_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE spikefront.study (
    study_id integer NOT NULL,
    name text NOT NULL,
    spec jsonb NOT NULL,
    frozen_hash text NOT NULL,
    state text NOT NULL,
    reason text DEFAULT ''::text NOT NULL,
    floor double precision NOT NULL,
    reference jsonb,
    versions jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    server_fence bigint DEFAULT '0'::bigint NOT NULL,
    CONSTRAINT study_state CHECK ((state = ANY (ARRAY['running'::text, 'paused'::text, 'stopped'::text, 'complete'::text])))
);
ALTER TABLE ONLY public.studies ALTER COLUMN study_id SET DEFAULT nextval('public.studies_study_id_seq'::regclass);
ALTER TABLE ONLY public.study_directions ALTER COLUMN study_direction_id SET DEFAULT nextval('public.study_directions_study_direction_id_seq'::regclass);
ALTER TABLE ONLY public.study_system_attributes ALTER COLUMN study_system_attribute_id SET DEFAULT nextval('public.study_system_attributes_study_system_attribute_id_seq'::regclass);
ALTER TABLE ONLY public.study_user_attributes ALTER COLUMN study_user_attribute_id SET DEFAULT nextval('public.study_user_attributes_study_user_attribute_id_seq'::regclass);
ALTER TABLE ONLY public.trial_heartbeats ALTER COLUMN trial_heartbeat_id SET DEFAULT nextval('public.trial_heartbeats_trial_heartbeat_id_seq'::regclass);
ALTER TABLE ONLY public.trial_intermediate_values ALTER COLUMN trial_intermediate_value_id SET DEFAULT nextval('public.trial_intermediate_values_trial_intermediate_value_id_seq'::regclass);
ALTER TABLE ONLY public.trial_params ALTER COLUMN param_id SET DEFAULT nextval('public.trial_params_param_id_seq'::regclass);
ALTER TABLE ONLY public.trial_system_attributes ALTER COLUMN trial_system_attribute_id SET DEFAULT nextval('public.trial_system_attributes_trial_system_attribute_id_seq'::regclass);
ALTER TABLE ONLY public.trial_user_attributes ALTER COLUMN trial_user_attribute_id SET DEFAULT nextval('public.trial_user_attributes_trial_user_attribute_id_seq'::regclass);
ALTER TABLE ONLY public.trial_values ALTER COLUMN trial_value_id SET DEFAULT nextval('public.trial_values_trial_value_id_seq'::regclass);
ALTER TABLE ONLY public.trials ALTER COLUMN trial_id SET DEFAULT nextval('public.trials_trial_id_seq'::regclass);
ALTER TABLE ONLY spikefront.checkpoint ALTER COLUMN checkpoint_id SET DEFAULT nextval('spikefront.checkpoint_checkpoint_id_seq'::regclass);
ALTER TABLE ONLY spikefront.event ALTER COLUMN event_id SET DEFAULT nextval('spikefront.event_event_id_seq'::regclass);
INSERT INTO public.alembic_version VALUES ('v3.2.0.a');
INSERT INTO public.studies VALUES (1, 'theirs');
INSERT INTO public.studies VALUES (2, 'tiny');
INSERT INTO public.studies VALUES (3, 'done');
INSERT INTO public.study_directions VALUES (1, 'MINIMIZE', 1, 0);
INSERT INTO public.study_directions VALUES (2, 'MAXIMIZE', 2, 0);
INSERT INTO public.study_directions VALUES (3, 'MINIMIZE', 2, 1);
INSERT INTO public.study_directions VALUES (4, 'MAXIMIZE', 2, 2);
INSERT INTO public.study_directions VALUES (5, 'MAXIMIZE', 3, 0);
INSERT INTO public.study_directions VALUES (6, 'MINIMIZE', 3, 1);
INSERT INTO public.study_directions VALUES (7, 'MAXIMIZE', 3, 2);
INSERT INTO public.study_system_attributes VALUES (1, 2, 'study:metric_names', '["accuracy", "latency_ms", "fps_per_watt"]');
INSERT INTO public.study_system_attributes VALUES (2, 3, 'study:metric_names', '["accuracy", "latency_ms", "fps_per_watt"]');
INSERT INTO public.trial_params VALUES (1, 1, 'x', 0.42753710242173093, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 1.0, "log": false}}');
INSERT INTO public.trial_params VALUES (2, 2, 'x', 0.9868236445765132, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 1.0, "log": false}}');
INSERT INTO public.trial_params VALUES (3, 3, 'beta', 0.25, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.05, "high": 0.95, "log": false}}');
INSERT INTO public.trial_params VALUES (4, 3, 'threshold', 1, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.25, "high": 2.5, "log": false}}');
INSERT INTO public.trial_params VALUES (5, 3, 'accelerator.neural_cores.0', 1, '{"name": "CategoricalDistribution", "attributes": {"choices": [1, 2, 4]}}');
INSERT INTO public.trial_params VALUES (6, 4, 'beta', 0.17373295184952364, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.05, "high": 0.95, "log": false}}');
INSERT INTO public.trial_params VALUES (7, 4, 'threshold', 1.5726892233573, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.25, "high": 2.5, "log": false}}');
INSERT INTO public.trial_params VALUES (8, 4, 'accelerator.neural_cores.0', 1, '{"name": "CategoricalDistribution", "attributes": {"choices": [1, 2, 4]}}');
INSERT INTO public.trial_params VALUES (9, 5, 'beta', 0.0670874901586456, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.05, "high": 0.95, "log": false}}');
INSERT INTO public.trial_params VALUES (10, 5, 'threshold', 0.45599659859905495, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.25, "high": 2.5, "log": false}}');
INSERT INTO public.trial_params VALUES (11, 5, 'accelerator.neural_cores.0', 1, '{"name": "CategoricalDistribution", "attributes": {"choices": [1, 2, 4]}}');
INSERT INTO public.trial_params VALUES (12, 6, 'beta', 0.3872713424014357, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.05, "high": 0.95, "log": false}}');
INSERT INTO public.trial_params VALUES (13, 6, 'threshold', 1.3732513327065983, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.25, "high": 2.5, "log": false}}');
INSERT INTO public.trial_params VALUES (14, 6, 'accelerator.neural_cores.0', 2, '{"name": "CategoricalDistribution", "attributes": {"choices": [1, 2, 4]}}');
INSERT INTO public.trial_params VALUES (15, 7, 'beta', 0.25, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.05, "high": 0.95, "log": false}}');
INSERT INTO public.trial_params VALUES (16, 7, 'threshold', 1, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.25, "high": 2.5, "log": false}}');
INSERT INTO public.trial_params VALUES (17, 7, 'accelerator.neural_cores.0', 1, '{"name": "CategoricalDistribution", "attributes": {"choices": [1, 2, 4]}}');
INSERT INTO public.trial_system_attributes VALUES (1, 3, 'fixed_params', '{"beta": 0.25, "threshold": 1.0, "accelerator.neural_cores.0": 2}');
INSERT INTO public.trial_system_attributes VALUES (2, 3, 'constraints:floor', '-0.3');
INSERT INTO public.trial_system_attributes VALUES (3, 3, 'constraints:fits_device', '0.0');
INSERT INTO public.trial_system_attributes VALUES (4, 4, 'constraints:floor', '-0.5545454545454547');
INSERT INTO public.trial_system_attributes VALUES (5, 4, 'constraints:fits_device', '0.0');
INSERT INTO public.trial_system_attributes VALUES (6, 7, 'fixed_params', '{"beta": 0.25, "threshold": 1.0, "accelerator.neural_cores.0": 2}');
INSERT INTO public.trial_system_attributes VALUES (7, 7, 'constraints:floor', '-0.3');
INSERT INTO public.trial_system_attributes VALUES (8, 7, 'constraints:fits_device', '0.0');
INSERT INTO public.trial_user_attributes VALUES (2, 3, 'seed', '3717377837946358015');
INSERT INTO public.trial_user_attributes VALUES (1, 3, 'worker', '"fake"');
INSERT INTO public.trial_user_attributes VALUES (4, 3, 'attempts', '1');
INSERT INTO public.trial_user_attributes VALUES (6, 4, 'seed', '38901565946305238');
INSERT INTO public.trial_user_attributes VALUES (5, 4, 'worker', '"fake"');
INSERT INTO public.trial_user_attributes VALUES (8, 4, 'attempts', '1');
INSERT INTO public.trial_user_attributes VALUES (9, 5, 'worker', '"fake"');
INSERT INTO public.trial_user_attributes VALUES (10, 5, 'failure', '{"class": "TrainingError", "message": "loss is not finite", "traceback": "Traceback", "seed": 7764949442709860949, "worker": "fake"}');
INSERT INTO public.trial_user_attributes VALUES (11, 6, 'worker', '"fake"');
INSERT INTO public.trial_user_attributes VALUES (13, 7, 'seed', '3717377837946358015');
INSERT INTO public.trial_user_attributes VALUES (12, 7, 'worker', '"fake"');
INSERT INTO public.trial_user_attributes VALUES (15, 7, 'attempts', '1');
INSERT INTO public.trial_values VALUES (1, 1, 0, 0.42753710242173093, 'FINITE');
INSERT INTO public.trial_values VALUES (2, 2, 0, 0.9868236445765132, 'FINITE');
INSERT INTO public.trial_values VALUES (3, 3, 0, 0.5, 'FINITE');
INSERT INTO public.trial_values VALUES (4, 3, 1, 0.45, 'FINITE');
INSERT INTO public.trial_values VALUES (5, 3, 2, 900, 'FINITE');
INSERT INTO public.trial_values VALUES (6, 4, 0, 0.7545454545454546, 'FINITE');
INSERT INTO public.trial_values VALUES (7, 4, 1, 0.7593388429752068, 'FINITE');
INSERT INTO public.trial_values VALUES (8, 4, 2, 890, 'FINITE');
INSERT INTO public.trial_values VALUES (9, 7, 0, 0.5, 'FINITE');
INSERT INTO public.trial_values VALUES (10, 7, 1, 0.45, 'FINITE');
INSERT INTO public.trial_values VALUES (11, 7, 2, 900, 'FINITE');
INSERT INTO public.trials VALUES (1, 0, 1, 'COMPLETE', '2026-11-24 00:12:25.645222', '2026-11-24 00:12:25.765041');
INSERT INTO public.trials VALUES (2, 1, 1, 'COMPLETE', '2026-11-24 00:12:25.793492', '2026-11-24 00:12:25.851735');
INSERT INTO public.trials VALUES (3, 0, 2, 'COMPLETE', '2026-11-24 00:12:26.158395', '2026-11-24 00:12:26.251388');
INSERT INTO public.trials VALUES (4, 1, 2, 'COMPLETE', '2026-11-24 00:12:26.300149', '2026-11-24 00:12:26.35247');
INSERT INTO public.trials VALUES (5, 2, 2, 'FAIL', '2026-11-24 00:12:26.373946', '2026-11-24 00:12:26.384305');
INSERT INTO public.trials VALUES (6, 3, 2, 'RUNNING', '2026-11-24 00:12:26.41482', NULL);
INSERT INTO public.trials VALUES (7, 0, 3, 'COMPLETE', '2026-11-24 00:12:26.582828', '2026-11-24 00:12:26.600689');
INSERT INTO public.version_info VALUES (1, 12, '5.0.0');
INSERT INTO spikefront.checkpoint VALUES (1, 6, 1, 1, '4bd79d36b49fcc810cc365451a209ef0e1b1b43ea4425971c25619d41d40bbf4', 13, '2026-11-24 00:12:26.460732+00');
INSERT INTO spikefront.checkpoint VALUES (2, 6, 1, 2, '9704b83ad89c7c566f1eac384831b24164aed7dae7b6a4906864cc5ee30bf45a', 13, '2026-11-24 00:12:26.472462+00');
INSERT INTO spikefront.epoch VALUES (3, 1, 1, 0.3, 0.1);
INSERT INTO spikefront.epoch VALUES (3, 2, 0.5, 0.6, 0.1);
INSERT INTO spikefront.epoch VALUES (4, 1, 1, 0.3, 0.1);
INSERT INTO spikefront.epoch VALUES (4, 2, 0.5, 0.6, 0.1);
INSERT INTO spikefront.epoch VALUES (6, 1, 1, 0.3, 0.1);
INSERT INTO spikefront.epoch VALUES (6, 2, 0.5, 0.6, 0.1);
INSERT INTO spikefront.event VALUES (1, 2, NULL, 'created', 'study tiny created', '2026-11-24 00:12:26.13281+00');
INSERT INTO spikefront.event VALUES (2, 2, 0, 'trial complete', 'trial 0 complete: accuracy 50.0%, 0.45 ms, 900 FPS/W', '2026-11-24 00:12:26.261157+00');
INSERT INTO spikefront.event VALUES (3, 2, 1, 'trial complete', 'trial 1 complete: accuracy 75.5%, 0.759 ms, 890 FPS/W', '2026-11-24 00:12:26.356063+00');
INSERT INTO spikefront.event VALUES (4, 2, 2, 'failed', 'trial 2 failed: TrainingError: loss is not finite', '2026-11-24 00:12:26.391439+00');
INSERT INTO spikefront.event VALUES (5, 2, 3, 'handed back', 'fake handed trial 3 back at epoch 2', '2026-11-24 00:12:26.483509+00');
INSERT INTO spikefront.event VALUES (6, 3, NULL, 'created', 'study done created', '2026-11-24 00:12:26.571164+00');
INSERT INTO spikefront.event VALUES (7, 3, 0, 'trial complete', 'trial 0 complete: accuracy 50.0%, 0.45 ms, 900 FPS/W', '2026-11-24 00:12:26.605738+00');
INSERT INTO spikefront.event VALUES (8, 3, NULL, 'complete', 'complete: 1 points on the front, scored on the test set', '2026-11-24 00:12:26.800345+00');
INSERT INTO spikefront.event VALUES (9, 2, NULL, 'changed', 'versions = any', '2026-11-24 02:38:33.489162+00');
INSERT INTO spikefront.event VALUES (10, 2, 3, 'taken over', 'middle takes trial 3 over from fake, from epoch 2', '2026-11-24 02:38:33.508434+00');
INSERT INTO spikefront.event VALUES (11, 2, 3, 'handed back', 'middle handed trial 3 back at epoch 2', '2026-11-24 02:38:33.511107+00');
INSERT INTO spikefront.event VALUES (12, 2, NULL, 'stopped', 'stopped on request', '2026-11-24 02:38:33.51455+00');
INSERT INTO spikefront.lease VALUES (3, 2, 'train', 'fake', 1, 3717377837946358015, 2, 2, 0.6, '2026-11-24 00:12:26.154786+00', '2026-11-24 00:12:56.201648+00', '2026-11-24 00:12:26.261559+00');
INSERT INTO spikefront.lease VALUES (4, 2, 'train', 'fake', 1, 38901565946305238, 2, 2, 0.6, '2026-11-24 00:12:26.293549+00', '2026-11-24 00:12:56.325104+00', '2026-11-24 00:12:26.356371+00');
INSERT INTO spikefront.lease VALUES (5, 2, 'train', 'fake', 1, 7764949442709860949, 2, 0, NULL, '2026-11-24 00:12:26.366936+00', '2026-11-24 00:12:56.366936+00', '2026-11-24 00:12:26.400078+00');
INSERT INTO spikefront.lease VALUES (7, 3, 'test', 'fake', 2, 3717377837946358015, 2, 0, NULL, '2026-11-24 00:12:26.75531+00', '2026-11-24 00:12:56.75531+00', '2026-11-24 00:12:26.772803+00');
INSERT INTO spikefront.lease VALUES (6, 2, 'train', 'middle', 2, 8789938331783242616, 2, 2, 0.6, '2026-11-24 02:38:33.505792+00', '2026-11-24 02:38:33.510499+00', NULL);
INSERT INTO spikefront.result VALUES (3, '{"accuracy_standard_error": 0.01}', '{"latency_ms": 0.45, "fps_per_watt": 900.0}', 'cefc666107ba857ce3da5b99dda279b278f2e1040765e94ffb71ae129d9cda4f', 1, NULL, NULL, '2026-11-24 00:12:26.256684+00');
INSERT INTO spikefront.result VALUES (4, '{"accuracy_standard_error": 0.01}', '{"latency_ms": 0.7593388429752068, "fps_per_watt": 890.0}', 'fe80faad30d83d0f28fcb6cfa884a3b9f1e081eeef4b9f4194507f3463a9e5af', 1, NULL, NULL, '2026-11-24 00:12:26.355004+00');
INSERT INTO spikefront.result VALUES (7, '{"accuracy_standard_error": 0.01}', '{"latency_ms": 0.45, "fps_per_watt": 900.0}', 'cefc666107ba857ce3da5b99dda279b278f2e1040765e94ffb71ae129d9cda4f', 1, '{"values": {"accuracy": 0.5}, "on_baseline_accelerator": null}', NULL, '2026-11-24 00:12:26.602965+00');
INSERT INTO spikefront.rung VALUES (3, 0, 1, 1, '{"accuracy": 0.5, "latency_ms": 0.45, "fps_per_watt": 900.0}', 'continue', 'stopping: none', '2026-11-24 00:12:26.218924+00');
INSERT INTO spikefront.rung VALUES (4, 0, 1, 1, '{"accuracy": 0.5, "latency_ms": 0.45, "fps_per_watt": 900.0}', 'continue', 'stopping: none', '2026-11-24 00:12:26.337312+00');
INSERT INTO spikefront.rung VALUES (6, 0, 1, 1, '{"accuracy": 0.5, "latency_ms": 0.45, "fps_per_watt": 900.0}', 'continue', 'stopping: none', '2026-11-24 00:12:26.449292+00');
INSERT INTO spikefront.spikefront_version VALUES ('0002');
INSERT INTO spikefront.study VALUES (3, 'done', '{"beta": 0.25, "loss": "ce_rate", "pool": "before_lif", "alpha": 2.0, "learn": [], "notes": null, "reset": "subtract", "slope": 25.0, "study": "done", "train": {"lr": 0.005, "seed": "trial", "batch": 32, "gamma": 0.5, "epochs": 2, "dropout": 0.0, "momentum": 0.9, "schedule": "cosine", "optimizer": "adam", "max_minutes": null, "micro_batch": null, "step_epochs": 5, "target_rate": 0.0, "rate_penalty": 0.0, "weight_decay": 0.0, "warmup_epochs": 0}, "budget": {"hours": null, "epochs": null, "trials": 1, "max_failures": 5}, "escape": 1.0, "neuron": "lif", "search": {"beta": {"step": null, "range": [0.05, 0.95]}, "threshold": {"step": null, "range": [0.25, 2.5]}, "accelerator.neural_cores.0": {"choice": [1, 2, 4]}}, "dataset": {"name": "digits", "root": null, "limit": 300, "frames": null, "verify": true, "augment": {"crop": 0, "flip": false}, "normalise": "none", "split_seed": 0, "validation": 0.2}, "network": "4C3p1-MP2-10", "sampler": {"name": "tpe", "seed": 1}, "baseline": {"beta": 0.25, "threshold": 1.0}, "encoding": "direct", "stopping": {"name": "none", "reduction": 3, "grace_epochs": 1}, "versions": "same", "surrogate": "atan", "threshold": 1.0, "objectives": ["accuracy", "latency_ms", "fps_per_watt"], "time_steps": 4, "accelerator": {"mode": "ideal", "input": "same", "budget": null, "device": "xc7z045", "preset": "event-driven-2023", "report": "max_fps_per_watt", "search": null, "schedule": "sequential", "clock_mhz": 100.0, "neural_cores": [2, 5], "encoder_widths": null}, "constraints": {"floor": {"accuracy": 0.2}, "fits_device": true}, "weight_bits": 32}', 'f16e4a8e8026225ef729476295b3956fbe4fe98dfaa16f88534d0d597907954f', 'complete', 'the budget is spent', 0.2, '{"accuracy": 0.2, "latency_ms": 0.9, "fps_per_watt": 450.0}', '{"numba": "0.68.1", "torch": "2.13.0", "snntorch": "1.0.0"}', '2026-11-24 00:12:26.565014+00', 0);
INSERT INTO spikefront.study VALUES (2, 'tiny', '{"beta": 0.25, "loss": "ce_rate", "pool": "before_lif", "alpha": 2.0, "learn": [], "notes": null, "reset": "subtract", "slope": 25.0, "study": "tiny", "train": {"lr": 0.005, "seed": "trial", "batch": 32, "gamma": 0.5, "epochs": 2, "dropout": 0.0, "momentum": 0.9, "schedule": "cosine", "optimizer": "adam", "max_minutes": null, "micro_batch": null, "step_epochs": 5, "target_rate": 0.0, "rate_penalty": 0.0, "weight_decay": 0.0, "warmup_epochs": 0}, "budget": {"hours": null, "epochs": null, "trials": 5, "max_failures": 5}, "escape": 1.0, "neuron": "lif", "search": {"beta": {"step": null, "range": [0.05, 0.95]}, "threshold": {"step": null, "range": [0.25, 2.5]}, "accelerator.neural_cores.0": {"choice": [1, 2, 4]}}, "dataset": {"name": "digits", "root": null, "limit": 300, "frames": null, "verify": true, "augment": {"crop": 0, "flip": false}, "normalise": "none", "split_seed": 0, "validation": 0.2}, "network": "4C3p1-MP2-10", "sampler": {"name": "tpe", "seed": 1}, "baseline": {"beta": 0.25, "threshold": 1.0}, "encoding": "direct", "stopping": {"name": "none", "reduction": 3, "grace_epochs": 1}, "versions": "any", "surrogate": "atan", "threshold": 1.0, "objectives": ["accuracy", "latency_ms", "fps_per_watt"], "time_steps": 4, "accelerator": {"mode": "ideal", "input": "same", "budget": null, "device": "xc7z045", "preset": "event-driven-2023", "report": "max_fps_per_watt", "search": null, "schedule": "sequential", "clock_mhz": 100.0, "neural_cores": [2, 5], "encoder_widths": null}, "constraints": {"floor": {"accuracy": 0.2}, "fits_device": true}, "weight_bits": 32}', 'f16e4a8e8026225ef729476295b3956fbe4fe98dfaa16f88534d0d597907954f', 'stopped', 'stopped on request', 0.2, '{"accuracy": 0.2, "latency_ms": 0.9, "fps_per_watt": 450.0}', '{"numba": "0.68.1", "torch": "2.13.0", "snntorch": "1.0.0"}', '2026-11-24 00:12:26.121045+00', 1);
SELECT pg_catalog.setval('public.studies_study_id_seq', 3, true);
SELECT pg_catalog.setval('public.study_directions_study_direction_id_seq', 7, true);
SELECT pg_catalog.setval('public.study_system_attributes_study_system_attribute_id_seq', 2, true);
SELECT pg_catalog.setval('public.study_user_attributes_study_user_attribute_id_seq', 1, false);
SELECT pg_catalog.setval('public.trial_heartbeats_trial_heartbeat_id_seq', 1, false);
SELECT pg_catalog.setval('public.trial_intermediate_values_trial_intermediate_value_id_seq', 1, false);
SELECT pg_catalog.setval('public.trial_params_param_id_seq', 17, true);
SELECT pg_catalog.setval('public.trial_system_attributes_trial_system_attribute_id_seq', 8, true);
SELECT pg_catalog.setval('public.trial_user_attributes_trial_user_attribute_id_seq', 15, true);
SELECT pg_catalog.setval('public.trial_values_trial_value_id_seq', 11, true);
SELECT pg_catalog.setval('public.trials_trial_id_seq', 7, true);
SELECT pg_catalog.setval('spikefront.checkpoint_checkpoint_id_seq', 2, true);
SELECT pg_catalog.setval('spikefront.event_event_id_seq', 12, true);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.studies
    ADD CONSTRAINT studies_pkey PRIMARY KEY (study_id);
ALTER TABLE ONLY public.study_directions
    ADD CONSTRAINT study_directions_pkey PRIMARY KEY (study_direction_id);
ALTER TABLE ONLY public.study_directions
    ADD CONSTRAINT study_directions_study_id_objective_key UNIQUE (study_id, objective);
ALTER TABLE ONLY public.study_system_attributes
    ADD CONSTRAINT study_system_attributes_pkey PRIMARY KEY (study_system_attribute_id);
ALTER TABLE ONLY public.study_system_attributes
    ADD CONSTRAINT study_system_attributes_study_id_key_key UNIQUE (study_id, key);
ALTER TABLE ONLY public.study_user_attributes
    ADD CONSTRAINT study_user_attributes_pkey PRIMARY KEY (study_user_attribute_id);
ALTER TABLE ONLY public.study_user_attributes
    ADD CONSTRAINT study_user_attributes_study_id_key_key UNIQUE (study_id, key);
ALTER TABLE ONLY public.trial_heartbeats
    ADD CONSTRAINT trial_heartbeats_pkey PRIMARY KEY (trial_heartbeat_id);
ALTER TABLE ONLY public.trial_heartbeats
    ADD CONSTRAINT trial_heartbeats_trial_id_key UNIQUE (trial_id);
ALTER TABLE ONLY public.trial_intermediate_values
    ADD CONSTRAINT trial_intermediate_values_pkey PRIMARY KEY (trial_intermediate_value_id);
ALTER TABLE ONLY public.trial_intermediate_values
    ADD CONSTRAINT trial_intermediate_values_trial_id_step_key UNIQUE (trial_id, step);
ALTER TABLE ONLY public.trial_params
    ADD CONSTRAINT trial_params_pkey PRIMARY KEY (param_id);
ALTER TABLE ONLY public.trial_params
    ADD CONSTRAINT trial_params_trial_id_param_name_key UNIQUE (trial_id, param_name);
ALTER TABLE ONLY public.trial_system_attributes
    ADD CONSTRAINT trial_system_attributes_pkey PRIMARY KEY (trial_system_attribute_id);
ALTER TABLE ONLY public.trial_system_attributes
    ADD CONSTRAINT trial_system_attributes_trial_id_key_key UNIQUE (trial_id, key);
ALTER TABLE ONLY public.trial_user_attributes
    ADD CONSTRAINT trial_user_attributes_pkey PRIMARY KEY (trial_user_attribute_id);
ALTER TABLE ONLY public.trial_user_attributes
    ADD CONSTRAINT trial_user_attributes_trial_id_key_key UNIQUE (trial_id, key);
ALTER TABLE ONLY public.trial_values
    ADD CONSTRAINT trial_values_pkey PRIMARY KEY (trial_value_id);
ALTER TABLE ONLY public.trial_values
    ADD CONSTRAINT trial_values_trial_id_objective_key UNIQUE (trial_id, objective);
ALTER TABLE ONLY public.trials
    ADD CONSTRAINT trials_pkey PRIMARY KEY (trial_id);
ALTER TABLE ONLY public.version_info
    ADD CONSTRAINT version_info_pkey PRIMARY KEY (version_info_id);
ALTER TABLE ONLY spikefront.checkpoint
    ADD CONSTRAINT checkpoint_pkey PRIMARY KEY (checkpoint_id);
ALTER TABLE ONLY spikefront.epoch
    ADD CONSTRAINT epoch_pkey PRIMARY KEY (trial_id, epoch);
ALTER TABLE ONLY spikefront.event
    ADD CONSTRAINT event_pkey PRIMARY KEY (event_id);
ALTER TABLE ONLY spikefront.lease
    ADD CONSTRAINT lease_pkey PRIMARY KEY (trial_id);
ALTER TABLE ONLY spikefront.result
    ADD CONSTRAINT result_pkey PRIMARY KEY (trial_id);
ALTER TABLE ONLY spikefront.rung
    ADD CONSTRAINT rung_pkey PRIMARY KEY (trial_id, rung);
ALTER TABLE ONLY spikefront.spikefront_version
    ADD CONSTRAINT spikefront_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY spikefront.study
    ADD CONSTRAINT study_name_key UNIQUE (name);
ALTER TABLE ONLY spikefront.study
    ADD CONSTRAINT study_pkey PRIMARY KEY (study_id);
CREATE UNIQUE INDEX ix_studies_study_name ON public.studies USING btree (study_name);
CREATE INDEX ix_trials_study_id ON public.trials USING btree (study_id);
CREATE INDEX checkpoint_trial ON spikefront.checkpoint USING btree (trial_id, checkpoint_id);
CREATE INDEX event_study ON spikefront.event USING btree (study_id, event_id);
CREATE INDEX ix_spikefront_lease_study_id ON spikefront.lease USING btree (study_id);
ALTER TABLE ONLY public.study_directions
    ADD CONSTRAINT study_directions_study_id_fkey FOREIGN KEY (study_id) REFERENCES public.studies(study_id);
ALTER TABLE ONLY public.study_system_attributes
    ADD CONSTRAINT study_system_attributes_study_id_fkey FOREIGN KEY (study_id) REFERENCES public.studies(study_id);
ALTER TABLE ONLY public.study_user_attributes
    ADD CONSTRAINT study_user_attributes_study_id_fkey FOREIGN KEY (study_id) REFERENCES public.studies(study_id);
ALTER TABLE ONLY public.trial_heartbeats
    ADD CONSTRAINT trial_heartbeats_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id);
ALTER TABLE ONLY public.trial_intermediate_values
    ADD CONSTRAINT trial_intermediate_values_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id);
ALTER TABLE ONLY public.trial_params
    ADD CONSTRAINT trial_params_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id);
ALTER TABLE ONLY public.trial_system_attributes
    ADD CONSTRAINT trial_system_attributes_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id);
ALTER TABLE ONLY public.trial_user_attributes
    ADD CONSTRAINT trial_user_attributes_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id);
ALTER TABLE ONLY public.trial_values
    ADD CONSTRAINT trial_values_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id);
ALTER TABLE ONLY public.trials
    ADD CONSTRAINT trials_study_id_fkey FOREIGN KEY (study_id) REFERENCES public.studies(study_id);
ALTER TABLE ONLY spikefront.checkpoint
    ADD CONSTRAINT checkpoint_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id) ON DELETE CASCADE;
ALTER TABLE ONLY spikefront.epoch
    ADD CONSTRAINT epoch_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id) ON DELETE CASCADE;
ALTER TABLE ONLY spikefront.event
    ADD CONSTRAINT event_study_id_fkey FOREIGN KEY (study_id) REFERENCES public.studies(study_id) ON DELETE CASCADE;
ALTER TABLE ONLY spikefront.lease
    ADD CONSTRAINT lease_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id) ON DELETE CASCADE;
ALTER TABLE ONLY spikefront.result
    ADD CONSTRAINT result_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id) ON DELETE CASCADE;
ALTER TABLE ONLY spikefront.rung
    ADD CONSTRAINT rung_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id) ON DELETE CASCADE;
ALTER TABLE ONLY spikefront.study
    ADD CONSTRAINT study_study_id_fkey FOREIGN KEY (study_id) REFERENCES public.studies(study_id) ON DELETE CASCADE;
