"""The statements that write one account's demonstration history, set by set: a million calls take minutes, not hours.

Chance is a hash of the call's number and a salt, so that the same seed draws the same calls whatever the plan of the query.
Lengths are drawn as floats; money is integers from there on. Ids are UUIDv7 of their own moments (RFC 9562 §5.7), with the
microseconds in the first twelve bits after the milliseconds, so that their order is the order of the ledger; the rest of them
is drawn anew in each run.
"""

from typing import Final

FUNCTIONS: Final = """
CREATE OR REPLACE FUNCTION pg_temp.seed_u(n bigint, salt bigint) RETURNS double precision LANGUAGE sql IMMUTABLE AS $$
    SELECT ((hashint8extended(n, salt) >> 11) & 9007199254740991)::double precision / 9007199254740992
$$;
CREATE OR REPLACE FUNCTION pg_temp.seed_uuid(at timestamptz, n bigint, salt bigint) RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT encode(int8send(((us / 1000) << 16) | 28672 | (us % 1000 * 4)) ||
        int8send((hashint8extended(n, salt) & 4611686018427387903) | (-9223372036854775808)), 'hex')::uuid
    FROM (SELECT (extract(epoch FROM at) * 1000000)::bigint) AS moment (us)
$$;
DROP TABLE IF EXISTS pg_temp.seed_key, pg_temp.seed_slot, pg_temp.seed_model, pg_temp.seed_call, pg_temp.seed_move;
CREATE TEMP TABLE seed_key (no int PRIMARY KEY, id uuid, path uuid[], favourite int) ON COMMIT DROP;
CREATE TEMP TABLE seed_slot (key_no int, starts timestamptz, calls int) ON COMMIT DROP;
CREATE TEMP TABLE seed_model (no int PRIMARY KEY, name text, upstream text, price_in bigint, price_out bigint,
    price_cached bigint, price_write bigint, cost_in bigint, cost_out bigint, cost_cached bigint, cost_write bigint,
    prompt_length double precision, output_length double precision) ON COMMIT DROP;
CREATE TEMP TABLE seed_move (at timestamptz, id uuid, amount bigint, party text, code text, reference text, reason text,
    hold_id uuid) ON COMMIT DROP
"""

CALLS: Final = """
CREATE TEMP TABLE seed_call ON COMMIT DROP AS
WITH numbered AS (
    SELECT row_number() OVER (ORDER BY s.key_no, s.starts) AS n, s.key_no, s.starts
    FROM seed_slot s, generate_series(1, s.calls)),
drawn AS (
    SELECT n, key_no,
        starts + pg_temp.seed_u(n, %(salt)s + 1) * (least(starts + interval '1 hour', %(until)s) - starts) AS placed_at,
        pg_temp.seed_u(n, %(salt)s + 2) AS fate, pg_temp.seed_u(n, %(salt)s + 3) AS cache,
        pg_temp.seed_u(n, %(salt)s + 4) AS oddity, pg_temp.seed_u(n, %(salt)s + 5) AS taste,
        (%(wheel)s::int[])[1 + floor(pg_temp.seed_u(n, %(salt)s + 6) * %(spokes)s)::int] AS other_model,
        sqrt(-2 * ln(1 - pg_temp.seed_u(n, %(salt)s + 7))) AS spread,
        2 * pi() * pg_temp.seed_u(n, %(salt)s + 8) AS angle,
        (ARRAY[1024, 2048, 4096, 16384])[1 + floor(pg_temp.seed_u(n, %(salt)s + 9) * 4)::int]::bigint AS asked
    FROM numbered),
ended AS (
    SELECT d.*, k.id AS key_id, coalesce(k.path, '{}') AS path, m.*,
        least(8 + exp(m.prompt_length + 1.1 * spread * cos(angle)), 120000)::bigint AS prompt,
        least(1 + exp(m.output_length + 0.8 * spread * sin(angle)), 16000)::bigint AS output,
        CASE WHEN fate < 0.012 THEN 'cut'
            WHEN fate < 0.022 THEN 'hung_up'
            WHEN fate < CASE WHEN is_troubled THEN 0.12 ELSE 0.026 END THEN 'upstream_failed'
            WHEN fate < CASE WHEN is_troubled THEN 0.25 ELSE 0.032 END THEN 'upstream_unreachable'
            WHEN fate < 0.036 THEN 'upstream_refused'
            WHEN fate < 0.0372 THEN 'upstream_timeout'
            WHEN fate < 0.0387 AND placed_at < %(until)s - interval '13 minutes' THEN 'expired'
            ELSE 'ok' END AS outcome
    FROM drawn d LEFT JOIN seed_key k ON k.no = d.key_no
    JOIN seed_model m ON m.no = CASE WHEN taste < 0.6 AND k.no IS NOT NULL THEN k.favourite ELSE other_model END,
    LATERAL (SELECT m.upstream = 'together' AND placed_at > %(until)s - interval '5 hours' AS is_troubled) today),
used AS (
    SELECT e.*, outcome = 'expired' AND oddity < 0.3 AS is_late,
        CASE outcome WHEN 'expired' THEN 'expired' WHEN 'upstream_refused' THEN 'released'
            WHEN 'upstream_unreachable' THEN 'released' ELSE 'settled' END AS status,
        CASE WHEN cache < 0.4 AND price_cached < price_in THEN prompt * floor(cache * 20)::bigint / 10 ELSE 0 END AS cached,
        CASE WHEN cache > 0.85 AND price_write <> price_in THEN prompt / 2 ELSE 0 END AS written,
        CASE outcome WHEN 'cut' THEN output ELSE greatest(output, asked) END AS output_limit
    FROM ended e),
billed AS (
    SELECT u.*,
        ((prompt * 4 + 180) * greatest(price_in, price_cached, price_write) + output_limit * price_out + 999999) / 1000000
            AS amount,
        ((prompt - cached - written) * price_in + cached * price_cached + written * price_write + output * price_out + 999999)
            / 1000000 AS cost,
        ((prompt - cached - written) * cost_in + cached * cost_cached + written * cost_write + output * cost_out + 999999)
            / 1000000 AS upstream_cost,
        status = 'settled' OR is_late AS is_used
    FROM used u)
SELECT n, key_no, key_id, path, pg_temp.seed_uuid(placed_at, n, %(mark)s + 10) AS id, name AS model, upstream, status,
    CASE WHEN is_late THEN 'ok' ELSE outcome END AS outcome, amount, price_in, price_out, price_cached, price_write,
    CASE WHEN status <> 'settled' THEN 0 WHEN oddity > 0.9994 THEN cost - cost / 10 ELSE cost END AS charged,
    CASE WHEN is_late THEN cost WHEN status = 'settled' AND oddity > 0.9994 THEN cost / 10 ELSE 0 END AS lost,
    CASE WHEN is_used THEN upstream_cost WHEN status = 'released' THEN 0 END AS upstream_cost,
    prompt * 4 + 180 AS prompt_bound, output_limit,
    CASE WHEN is_used THEN prompt ELSE 0 END AS input, CASE WHEN is_used THEN cached ELSE 0 END AS cached,
    CASE WHEN is_used THEN written ELSE 0 END AS written, CASE WHEN is_used THEN output ELSE 0 END AS output,
    is_used AND (outcome IN ('upstream_failed', 'upstream_timeout') OR oddity < 0.01) AS is_counted,
    placed_at,
    CASE status WHEN 'expired' THEN placed_at + interval '12 minutes'
        WHEN 'released' THEN least(placed_at + asked * interval '0.0002 s', %(until)s)
        ELSE least(placed_at + interval '0.4 s' + output * interval '0.014 s', %(until)s) END AS resolved_at,
    is_late
FROM billed
"""

CAP: Final = """
WITH running AS (
    SELECT n, charged, sum(charged) OVER (ORDER BY resolved_at, n) AS upto FROM seed_call
    WHERE %(key_id)s = ANY (path)),
past AS (SELECT * FROM running WHERE upto > %(cap)s)
UPDATE seed_call c SET
    charged = CASE WHEN upto - p.charged < %(cap)s THEN %(cap)s - (upto - p.charged) ELSE c.charged END,
    lost = CASE WHEN upto - p.charged < %(cap)s THEN c.lost + upto - %(cap)s ELSE c.lost END,
    key_no = CASE WHEN upto - p.charged < %(cap)s THEN c.key_no ELSE 0 END,
    key_id = CASE WHEN upto - p.charged < %(cap)s THEN c.key_id ELSE %(other_id)s END,
    path = CASE WHEN upto - p.charged < %(cap)s THEN c.path ELSE ARRAY[%(other_id)s]::uuid[] END
FROM past p WHERE p.n = c.n
"""
"""The call that reaches the cap is charged what was left of it; those after it were made with another key."""

KEY: Final = """
INSERT INTO apikeys_apikey (id, account_id, parent_id, ancestor_ids, name, public_id, digest, allowlist, spent_nanousd,
    held_nanousd, is_frozen, created_at)
VALUES (%s, %s, %s, %s::uuid[], %s, %s, %s, %s, 0, 0, false, %s)
"""
"""Not by the ORM: when a key was made never changes, and the ORM says now."""

SPENDING: Final = """
SELECT key_id, sum(charged)::bigint FROM (SELECT unnest(path) AS key_id, charged FROM seed_call) each GROUP BY key_id
"""

KEY_SUMS: Final = """
UPDATE apikeys_apikey k SET spent_nanousd = t.spent, held_nanousd = t.held, last_used_at = t.last
FROM (SELECT key_id, sum(charged) AS spent, max(placed_at) AS last,
        coalesce(sum(amount) FILTER (WHERE status = 'pending'), 0) AS held
    FROM (SELECT unnest(path) AS key_id, charged, amount, status, placed_at FROM seed_call) each GROUP BY key_id) t
WHERE k.account_id = %(account)s AND k.id = t.key_id
"""

CREDIT: Final = """
INSERT INTO billing_creditaccount AS c (account_id, balance_nanousd, held_nanousd) VALUES (%(account)s, %(balance)s, %(held)s)
ON CONFLICT (account_id) DO UPDATE SET balance_nanousd = c.balance_nanousd + excluded.balance_nanousd,
    held_nanousd = c.held_nanousd + excluded.held_nanousd
"""

TOPUPS: Final = """
WITH running AS (
    SELECT n, resolved_at, charged, sum(charged) OVER (ORDER BY resolved_at, n) + %(margin)s AS upto FROM seed_call),
bands AS (
    SELECT 0 AS no, %(opened)s AS at
    UNION ALL
    SELECT band::int, greatest(%(opened)s, resolved_at - interval '40 minutes' * pg_temp.seed_u(band::bigint, %(salt)s + 12))
    FROM running, generate_series(div(upto - charged, %(size)s) + 1, div(upto, %(size)s)) band),
made AS (
    SELECT no, pg_temp.seed_uuid(at, no, %(mark)s + 13) AS id, at,
        (ARRAY['card_clearing', 'card_clearing', 'usdc_clearing', 'external_clearing'])[
            1 + floor(pg_temp.seed_u(no, %(salt)s + 14) * 4)::int] AS party
    FROM bands),
kept AS (
    INSERT INTO billing_topup (id, account_id, amount_nanousd, method, status, payment_ref, refunded_nanousd, created_at,
        resolved_at)
    SELECT id, %(account)s, %(size)s, party, 'succeeded', 'demo-' || id, 0, at, at + interval '9 s' FROM made
    RETURNING id, payment_ref),
referred AS (
    INSERT INTO billing_paymentreference (payment_ref, account_id, topup_id)
    SELECT payment_ref, %(account)s, id FROM kept)
INSERT INTO seed_move
SELECT at + interval '9 s', pg_temp.seed_uuid(at + interval '9 s', no, %(mark)s + 20), %(size)s, party, 'topup',
    'topup:' || id, '', NULL FROM made
"""
"""One at the start, and one a while before each call that would leave less than the margin: the balance never falls to it."""

UNPAID: Final = """
INSERT INTO billing_topup (id, account_id, amount_nanousd, method, status, payment_ref, refunded_nanousd, created_at, resolved_at)
SELECT pg_temp.seed_uuid(%(at)s, 1, %(mark)s + 16), %(account)s, %(size)s, %(method)s, %(status)s, '', 0, %(at)s,
    CASE WHEN %(status)s = 'failed' THEN %(at)s + interval '31 s' END
"""

REFUND: Final = """
WITH last AS (
    SELECT id, method FROM billing_topup WHERE account_id = %(account)s AND status = 'succeeded' ORDER BY id DESC LIMIT 1),
refunded AS (
    UPDATE billing_topup t SET refunded_nanousd = %(amount)s FROM last WHERE t.account_id = %(account)s AND t.id = last.id)
INSERT INTO seed_move
SELECT %(at)s, pg_temp.seed_uuid(%(at)s, 2, %(mark)s + 15), -%(amount)s, method, 'refund', 'refund:' || id, %(reason)s, NULL
FROM last
"""

CORRECTION: Final = """
INSERT INTO seed_move VALUES (%(at)s, pg_temp.seed_uuid(%(at)s, 3, %(mark)s + 15), %(amount)s, 'adjustment', 'adjustment',
    %(reference)s, %(reason)s, NULL)
"""

RUNNING: Final = """
INSERT INTO seed_call
SELECT -i, k.no, k.id, k.path, pg_temp.seed_uuid(at, -i, %(mark)s + 10), m.name, m.upstream, 'pending', '',
    (prompt * greatest(price_in, price_cached, price_write) + 1024 * price_out + 999999) / 1000000,
    price_in, price_out, price_cached, price_write, 0, 0, NULL, prompt, 1024, 0, 0, 0, 0, false, at, NULL, false
FROM generate_series(1, %(running)s) i
JOIN seed_key k ON k.no = (%(able)s::int[])[1 + i %% cardinality(%(able)s::int[])]
JOIN seed_model m ON m.no = 0,
LATERAL (SELECT mod(abs(hashint8extended(i, %(mark)s)), 4800) AS dice) drawn,
LATERAL (SELECT %(now)s - interval '40 ms' * dice AS at, 180 + dice AS prompt) placed
"""

HOLDS: Final = """
INSERT INTO billing_hold (
    id, account_id, key_id, key_ids, request_id, model, upstream, status, outcome, amount_nanousd, charged_nanousd,
    lost_nanousd, upstream_cost_nanousd, input_price_nanousd, output_price_nanousd, cached_input_price_nanousd,
    cache_write_price_nanousd, request_price_nanousd, prompt_bound_tokens, output_limit_tokens, choices, input_tokens,
    cached_input_tokens, cache_write_tokens, output_tokens, is_counted, placed_at, expires_at, resolved_at, late_at)
SELECT id, %(account)s, key_id, path,
    encode(int8send(hashint8extended(n, %(mark)s + 17)) || int8send(hashint8extended(n, %(mark)s + 18)), 'hex'),
    model, upstream, status, outcome, amount, charged, lost, upstream_cost, price_in, price_out, price_cached, price_write, 0,
    prompt_bound, output_limit, 1, input, cached, written, output, is_counted, placed_at, placed_at + interval '12 minutes',
    resolved_at, CASE WHEN is_late THEN resolved_at + interval '41 s' END
FROM seed_call ORDER BY placed_at
"""

TRANSFERS: Final = """
WITH moves AS (
    SELECT * FROM seed_move
    UNION ALL
    SELECT resolved_at, pg_temp.seed_uuid(resolved_at, n, %(mark)s + 19), -charged, 'revenue', 'charge', 'hold:' || id, '', id
    FROM seed_call WHERE charged > 0),
kept AS (
    INSERT INTO billing_transfer (id, account_id, amount_nanousd, debit, credit, code, reference, reason, hold_id,
        balance_after_nanousd, created_at)
    SELECT id, %(account)s, abs(amount), CASE WHEN amount > 0 THEN party ELSE 'customer' END,
        CASE WHEN amount > 0 THEN 'customer' ELSE party END, code, reference, reason, hold_id,
        sum(amount) OVER (ORDER BY id), at
    FROM moves ORDER BY id
    RETURNING id, reference)
INSERT INTO billing_transferreference (account_id, reference, transfer_id)
SELECT %(account)s, reference, id FROM kept
"""
