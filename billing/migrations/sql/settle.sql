-- The settlement, as it is since a hold keeps what its call cost the operator (p_upstream_cost, null where nobody said it).

DROP FUNCTION IF EXISTS faces_hold_settle(
    uuid, uuid, uuid, text, text, bigint, bigint, bigint, bigint, bigint, boolean, timestamptz, bigint, bigint);

-- Settle a hold to p_cost. What the hold does not cover is charged as far as every cap and the balance allow; the rest is lost.
-- state: settled (now), already (it was, before), late (it had ended without a charge: the whole cost is booked as loss),
-- unknown (no such hold). p_status 'released' with p_cost 0 gives everything back.
CREATE FUNCTION faces_hold_settle(
    p_account uuid, p_hold uuid, p_transfer uuid, p_status text, p_outcome text, p_cost bigint, p_input bigint,
    p_cached_input bigint, p_cache_write bigint, p_output bigint, p_counted boolean, p_now timestamptz,
    p_account_loss_limit bigint, p_model_loss_limit bigint, p_upstream_cost bigint,
    OUT state text, OUT charged bigint, OUT lost bigint
) LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz;
    v_transfer uuid;
    v_credit billing_creditaccount;
    v_keys record;
    v_key_ids uuid[];
    v_hold billing_hold;
BEGIN
    SELECT * INTO v_credit FROM billing_creditaccount WHERE account_id = p_account FOR NO KEY UPDATE;
    v_now := coalesce(p_now, clock_timestamp());
    v_transfer := coalesce(p_transfer, uuidv7());
    SELECT key_ids INTO v_key_ids FROM billing_hold WHERE account_id = p_account AND id = p_hold;
    SELECT * INTO v_keys FROM faces_lock_keys(p_account, coalesce(v_key_ids, '{}'));
    SELECT * INTO v_hold FROM billing_hold WHERE account_id = p_account AND id = p_hold FOR NO KEY UPDATE;
    charged := coalesce(v_hold.charged_nanousd, 0);
    lost := coalesce(v_hold.lost_nanousd, 0);
    IF v_hold.id IS NULL THEN
        state := 'unknown';
        RETURN;
    END IF;
    IF v_hold.status = 'settled' OR v_hold.late_at IS NOT NULL OR (v_hold.status = 'released' AND p_cost = 0) THEN
        state := 'already';
        RETURN;
    END IF;
    IF v_hold.status <> 'pending' THEN
        state := 'late';
        lost := p_cost;
        UPDATE billing_hold SET lost_nanousd = p_cost, late_at = v_now, outcome = p_outcome, input_tokens = p_input,
            cached_input_tokens = p_cached_input, cache_write_tokens = p_cache_write, output_tokens = p_output,
            is_counted = p_counted, upstream_cost_nanousd = p_upstream_cost
            WHERE account_id = p_account AND id = p_hold;
    ELSE
        state := 'settled';
        charged := p_cost;
        IF p_cost > v_hold.amount_nanousd THEN
            charged := v_hold.amount_nanousd + least(p_cost - v_hold.amount_nanousd, greatest(0, least(
                v_credit.balance_nanousd - v_credit.held_nanousd, v_keys.free)));
        END IF;
        lost := p_cost - charged;
        UPDATE billing_creditaccount SET balance_nanousd = balance_nanousd - charged,
            held_nanousd = held_nanousd - v_hold.amount_nanousd WHERE account_id = p_account;
        UPDATE apikeys_apikey SET spent_nanousd = spent_nanousd + charged,
            held_nanousd = held_nanousd - v_hold.amount_nanousd WHERE account_id = p_account AND id = ANY (v_key_ids);
        UPDATE billing_hold SET status = p_status, outcome = p_outcome, charged_nanousd = charged, lost_nanousd = lost,
            input_tokens = p_input, cached_input_tokens = p_cached_input, cache_write_tokens = p_cache_write,
            output_tokens = p_output, is_counted = p_counted, upstream_cost_nanousd = p_upstream_cost, resolved_at = v_now
            WHERE account_id = p_account AND id = p_hold;
        IF charged > 0 THEN
            INSERT INTO billing_transferreference (account_id, reference, transfer_id)
                VALUES (p_account, 'hold:' || p_hold, v_transfer);
            INSERT INTO billing_transfer (id, account_id, amount_nanousd, debit, credit, code, reference, reason, hold_id,
                balance_after_nanousd, created_at)
                VALUES (v_transfer, p_account, charged, 'customer', 'revenue', 'charge', 'hold:' || p_hold, '', p_hold,
                v_credit.balance_nanousd - charged, v_now);
        END IF;
    END IF;
    IF lost > 0 THEN
        PERFORM faces_enforce_loss_limits(p_account, v_hold.model, v_now, p_account_loss_limit, p_model_loss_limit);
    END IF;
END $$;
