-- Give chunks that were put aside an end of their time, begun anew with each piece.
-- KEYS: generation staging    ARGV: token, seconds
--
-- A repetition, or a call that was stuck in the network, may come after the commit: then the
-- generation is not noted as staged any more, and must not get an end.
if redis.call('ZSCORE', KEYS[2], ARGV[1]) then
  return redis.call('EXPIRE', KEYS[1], ARGV[2])
end
return 0
