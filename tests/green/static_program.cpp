// Linked statically: no dynamic linker looks up its functions, so no library can replace them.
int main() { return 0; }
