cd /work/tree; cmake --build build/release --target broker_test 2>&1 | grep -E "error|FAILED" -A5 | head -40
python3 scripts/shared/broker.py -- build/release/tests/broker/broker_test build/release/stages/07_coroutines --pool broker '--dt-test-case=*watched*,*says*,*begin*' 2>&1 | tail -40
