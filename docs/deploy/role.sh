#!/bin/sh
# What a container of compose.yaml runs: role.sh owner | aggregator | trainer-1 | trainer-2 | trainer-3, in /market.
set -eu
RPC=${RPC:-http://chain:8545} STORE=${STORE:-http://store:5001} TRAINERS=3
role=$1
desk="--state run/$role --rpc $RPC --store $STORE --keystore keys/$role.json --password-file keys/password"

give_coins() {
    python - "$RPC" <<'PYTHON'
import json, pathlib, sys
from zkmarket.chain import give_coins
keys = [json.loads(path.read_text()) for path in pathlib.Path("keys").glob("*.json")]
give_coins(sys.argv[1], ["0x" + key["address"] for key in keys], 10**22)
PYTHON
}

value() { # value FILE KEY…: what a JSON file holds
    python -c 'import functools, json, sys
print(functools.reduce(lambda at, key: at[key], sys.argv[2:], json.load(open(sys.argv[1]))))' "$@"
}

address() { echo "0x$(value "keys/$1.json" address)"; }

if [ "$role" = owner ]; then
    [ -f PROJECT.toml ] || zkmarket new . --trainers $TRAINERS
    mkdir -p run && zkmarket srs generate
    until give_coins 2>/dev/null; do sleep 1; done # the chain starts at the same time
    zkmarket owner create PROJECT.toml $desk
    zkmarket owner pay-in $desk --json >run/paid-in.json
    zkmarket owner list $(for number in $(seq $TRAINERS); do address trainer-$number; done) $desk --json >run/listed.new
    mv run/listed.new run/listed.json # whole, and the last thing that the others wait for
    exec zkmarket owner receive --withdraw $desk
fi

until [ -f run/listed.json ]; do sleep 1; done
project=$(value run/paid-in.json project)
if [ "$role" = aggregator ]; then
    exec zkmarket aggregator run --withdraw --project "$project" $desk
fi
number=${role#trainer-}
membership=$(value run/listed.json memberships "$(address "$role")")
exec zkmarket trainer run --join --withdraw --project "$project" --membership "$membership" $desk \
    --model my_model:model --data "my_data:share,part=$((number - 1)),of=$TRAINERS"
