cd /work/tree
for p in asan-ubsan tsan; do
cmake --preset $p -DGROUND_WERROR=ON >/dev/null && nice cmake --build build/$p -j2 --target board board_parts board_room board_liar $(ls stages/0*.cpp | xargs -n1 basename | sed s/.cpp// | tr "\n" " ")  2>&1 | tail -3
done
