-- Placing and extending, as they are since a hold may grow while its stream runs.

DROP FUNCTION IF EXISTS faces_hold_place(
    uuid, uuid, uuid[], numeric, numeric, bigint, bigint, interval, timestamptz, text, text, text,
    bigint, bigint, bigint, bigint, bigint, bigint, int);
DROP FUNCTION IF EXISTS faces_hold_extend(uuid, uuid, bigint, bigint);

-- Place a hold of p_fixed + p_per_output × limit (both in nano-USD × 10⁶, rounded up once). The limit is lowered to what the
-- free money buys, never below p_lowest. A hold that grows (p_grows) starts with its first slice, p_limit, as long as that much
-- is left: what others only hold comes back, and of many calls at once none should start with a tenth of its answer.
-- Answers one row: reason '' and the amount and limit used, or why not.
-- Divided with div(), which is exact: the operator / keeps 16 significant digits and rounds them, either way.
CREATE FUNCTION faces_hold_place(
    p_account uuid, p_hold uuid, p_key_ids uuid[], p_fixed numeric, p_per_output numeric, p_limit bigint, p_lowest bigint,
    p_life interval, p_now timestamptz, p_request_id text, p_model text, p_upstream text, p_input_price bigint,
    p_output_price bigint, p_cached_input_price bigint, p_cache_write_price bigint, p_request_price bigint,
    p_prompt_bound bigint, p_choices int, p_grows boolean,
    OUT reason text, OUT amount bigint, OUT output_limit bigint
) LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz := coalesce(p_now, clock_timestamp());
    v_credit billing_creditaccount;
    v_keys record;
    v_account record;
    v_lowest numeric := div(p_fixed + p_per_output * p_lowest + 999999, 1000000);
    v_full numeric := div(p_fixed + p_per_output * p_limit + 999999, 1000000);
    v_needed numeric;
    v_free numeric;
BEGIN
    SELECT * INTO v_credit FROM billing_creditaccount WHERE account_id = p_account FOR NO KEY UPDATE;
    SELECT * INTO v_keys FROM faces_lock_keys(p_account, p_key_ids);
    SELECT u.is_frozen, u.is_active INTO v_account FROM accounts_user u WHERE u.id = p_account;
    v_free := coalesce(v_credit.balance_nanousd - v_credit.held_nanousd, 0);
    v_needed := CASE WHEN p_grows AND least(v_keys.unspent, v_credit.balance_nanousd) >= v_full THEN v_full ELSE v_lowest END;
    reason := CASE
        WHEN v_account.is_active IS NOT TRUE OR v_keys.revoked OR v_keys.found <> cardinality(p_key_ids) THEN 'revoked'
        WHEN v_account.is_frozen THEN 'account_frozen'
        WHEN v_keys.frozen THEN 'key_frozen'
        WHEN v_keys.unspent <= 0 OR v_keys.unspent < v_lowest THEN 'budget_exhausted'
        WHEN v_keys.free <= 0 OR v_keys.free < v_needed THEN 'budget_held'
        WHEN v_credit.balance_nanousd IS NULL OR v_credit.balance_nanousd <= 0 OR v_credit.balance_nanousd < v_lowest
            THEN 'balance_exhausted'
        WHEN v_free <= 0 OR v_free < v_needed THEN 'balance_held'
        ELSE '' END;
    IF reason <> '' THEN
        RETURN;
    END IF;
    v_free := least(v_free, v_keys.free);
    IF v_full <= v_free THEN
        output_limit := p_limit;
    ELSE
        output_limit := least(p_limit, div(v_free * 1000000 - p_fixed, p_per_output));
    END IF;
    amount := div(p_fixed + p_per_output * output_limit + 999999, 1000000);

    UPDATE billing_creditaccount SET held_nanousd = held_nanousd + amount WHERE account_id = p_account;
    UPDATE apikeys_apikey SET held_nanousd = held_nanousd + amount, last_used_at = v_now
        WHERE account_id = p_account AND id = ANY (p_key_ids);
    INSERT INTO billing_hold (
        id, account_id, key_id, key_ids, request_id, model, upstream, status, outcome, amount_nanousd, charged_nanousd,
        lost_nanousd, input_price_nanousd, output_price_nanousd, cached_input_price_nanousd, cache_write_price_nanousd,
        request_price_nanousd, prompt_bound_tokens, output_limit_tokens, choices, input_tokens, cached_input_tokens,
        cache_write_tokens, output_tokens, is_counted, placed_at, expires_at)
    VALUES (
        p_hold, p_account, p_key_ids[cardinality(p_key_ids)], p_key_ids, p_request_id, p_model, p_upstream, 'pending', '',
        amount, 0, 0, p_input_price, p_output_price, p_cached_input_price, p_cache_write_price, p_request_price,
        p_prompt_bound, output_limit, p_choices, 0, 0, 0, 0, false, v_now, v_now + p_life);
END $$;

-- Raise a pending hold so that it pays for p_output_limit tokens a choice, whole or not at all; to ask twice is to ask once.
-- Looks only at money: a call already running may finish.
CREATE FUNCTION faces_hold_extend(
    p_account uuid, p_hold uuid, p_output_limit bigint, OUT reason text, OUT amount bigint
) LANGUAGE plpgsql AS $$
DECLARE
    v_credit billing_creditaccount;
    v_keys record;
    v_key_ids uuid[];
    v_hold billing_hold;
    v_raise numeric;
BEGIN
    SELECT * INTO v_credit FROM billing_creditaccount WHERE account_id = p_account FOR NO KEY UPDATE;
    SELECT key_ids INTO v_key_ids FROM billing_hold WHERE account_id = p_account AND id = p_hold;
    SELECT * INTO v_keys FROM faces_lock_keys(p_account, coalesce(v_key_ids, '{}'));
    SELECT * INTO v_hold FROM billing_hold WHERE account_id = p_account AND id = p_hold FOR NO KEY UPDATE;
    amount := v_hold.amount_nanousd;
    v_raise := div(v_hold.prompt_bound_tokens::numeric
        * greatest(v_hold.input_price_nanousd, v_hold.cached_input_price_nanousd, v_hold.cache_write_price_nanousd)
        + v_hold.request_price_nanousd::numeric * 1000000
        + v_hold.output_price_nanousd::numeric * v_hold.choices * p_output_limit + 999999, 1000000) - v_hold.amount_nanousd;
    reason := CASE
        WHEN v_hold.status IS DISTINCT FROM 'pending' THEN 'not_pending'
        WHEN p_output_limit <= v_hold.output_limit_tokens THEN ''
        WHEN v_keys.unspent < v_raise + v_hold.amount_nanousd THEN 'budget_exhausted'
        WHEN v_keys.free < v_raise THEN 'budget_held'
        WHEN v_credit.balance_nanousd < v_raise + v_hold.amount_nanousd THEN 'balance_exhausted'
        WHEN v_credit.balance_nanousd - v_credit.held_nanousd < v_raise THEN 'balance_held'
        ELSE '' END;
    IF reason <> '' OR p_output_limit <= v_hold.output_limit_tokens THEN
        RETURN;
    END IF;
    amount := amount + v_raise;
    UPDATE billing_creditaccount SET held_nanousd = held_nanousd + v_raise WHERE account_id = p_account;
    UPDATE apikeys_apikey SET held_nanousd = held_nanousd + v_raise WHERE account_id = p_account AND id = ANY (v_key_ids);
    UPDATE billing_hold SET amount_nanousd = faces_hold_extend.amount, output_limit_tokens = p_output_limit
        WHERE account_id = p_account AND id = p_hold;
END $$;
